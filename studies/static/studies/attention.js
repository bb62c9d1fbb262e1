// Measures how long the page was shown, how long it was in front and in use, and when it was first touched.

const IDLE = 60000; // ms without a sign of the rater after which the page no longer counts as in use
const TICK = 250;
const form = document.getElementById("answer");
const shown = performance.now();
let first = null;
let sign = shown;
let counted = shown;
let active = 0;

function touched(event) {
  if (!event.isTrusted) return;
  sign = performance.now();
  if (first === null && event.type !== "pointermove") first = sign - shown;
}

function tick() {
  const now = performance.now();
  const inFront = document.visibilityState === "visible" && document.hasFocus();
  // A hidden page's timer runs late: what passed meanwhile is not counted when it comes back.
  if (inFront && now - sign < IDLE) active += Math.min(now - counted, 4 * TICK);
  counted = now;
}

const seconds = (ms) => (ms / 1000).toFixed(2);

form.addEventListener("formdata", ({ formData }) => {
  tick();
  formData.set("seconds", seconds(performance.now() - shown));
  formData.set("active_seconds", seconds(active));
  formData.set("first_seconds", first === null ? "" : seconds(first));
  formData.set("viewport", `${innerWidth}x${innerHeight}@${devicePixelRatio}`);
  if ("pastes" in form.dataset) formData.set("pasted", form.dataset.pasted || "0");
});
form.elements.reason.addEventListener("paste", () => { form.dataset.pasted = "1"; });
for (const kind of ["pointerdown", "pointermove", "keydown", "wheel", "touchmove"]) {
  addEventListener(kind, touched, { capture: true, passive: true });
}
setInterval(tick, TICK);
