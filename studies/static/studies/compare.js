// Adds single keys, links to steps that light up, and a draft that outlives a reload. Without it: a plain form.

const form = document.getElementById("answer");
const dialog = document.getElementById("keys");
const on = document.getElementById("keys-on");
const list = document.getElementById("key-list");
const keyNote = document.getElementById("key-note");
const STORED = { on: "sage-keys", map: "sage-key-map" };
const buttons = [...document.querySelectorAll("button[data-key]")];
let asked = null; // the action that the next key is for

// -- keys --

const nameOf = (button) => button.value || "undo";
const ownKeys = () => JSON.parse(localStorage.getItem(STORED.map) || "{}");
const keyOf = (button) => ownKeys()[nameOf(button)] || button.dataset.key;

function showKeys() {
  document.body.classList.toggle("keys-on", on.checked);
  for (const button of buttons) {
    button.querySelector("kbd").textContent = keyOf(button).toUpperCase();
    if (on.checked) button.setAttribute("aria-keyshortcuts", keyOf(button));
    else button.removeAttribute("aria-keyshortcuts");
  }
  list.replaceChildren(...buttons.map(row));
}

function wordsOf(button) {
  const copy = button.cloneNode(true);
  copy.querySelectorAll("kbd, [aria-hidden]").forEach((part) => part.remove());
  return copy.textContent.replace(/\s+/g, " ").trim();
}

function row(button) {
  const key = document.createElement("kbd");
  key.textContent = keyOf(button).toUpperCase();
  const choose = document.createElement("button");
  choose.type = "button";
  choose.dataset.action = nameOf(button);
  choose.append(wordsOf(button), " ", key);
  choose.addEventListener("click", () => {
    asked = button;
    keyNote.textContent = `${dialog.dataset.press}: ${wordsOf(button)}`;
  });
  const item = document.createElement("li");
  item.append(choose);
  return item;
}

function assign(key) {
  const holder = buttons.find((button) => button !== asked && keyOf(button) === key);
  if (!/^[\p{L}\p{N}]$/u.test(key)) keyNote.textContent = dialog.dataset.noKey;
  else if (holder) keyNote.textContent = `${dialog.dataset.taken} ${wordsOf(holder)}`;
  else {
    localStorage.setItem(STORED.map, JSON.stringify({ ...ownKeys(), [nameOf(asked)]: key }));
    const name = nameOf(asked);
    asked = null;
    showKeys();
    list.querySelector(`[data-action="${name}"]`).focus();
    keyNote.textContent = dialog.dataset.set;
  }
}

function typing(target) {
  return target instanceof Element && target.closest("textarea, select, [contenteditable], input:not([type=checkbox], [type=radio])");
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.repeat || event.isComposing) return;
  const key = event.key.toLowerCase();
  if (dialog.open) {
    if (!asked || event.key.length > 1) return;
    event.preventDefault();
    assign(key);
    return;
  }
  if (!on.checked || typing(event.target)) return;
  const button = buttons.find((other) => keyOf(other) === key);
  if (!button) return;
  event.preventDefault();
  button.form.requestSubmit(button);
}

on.checked = localStorage.getItem(STORED.on) !== "off";
on.addEventListener("change", () => {
  localStorage.setItem(STORED.on, on.checked ? "on" : "off");
  showKeys();
});
document.getElementById("open-keys").hidden = false;
document.getElementById("open-keys").addEventListener("click", () => dialog.showModal());
document.getElementById("keys-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => { asked = null; keyNote.textContent = ""; });
document.getElementById("keys-reset").addEventListener("click", () => {
  localStorage.removeItem(STORED.map);
  showKeys();
});
document.addEventListener("keydown", pressed);
showKeys();

// -- steps --

for (const kind of ["pointerover", "pointerout", "focusin", "focusout"]) {
  document.addEventListener(kind, (event) => {
    const link = event.target instanceof Element && event.target.closest("a.to-step");
    if (!link) return;
    const step = document.getElementById(link.hash.slice(1));
    step.classList.toggle("pointed", kind === "pointerover" || kind === "focusin");
  });
}
for (const link of document.querySelectorAll("a.to-step")) {
  link.addEventListener("click", () => { document.getElementById(link.hash.slice(1)).closest("details").open = true; });
}

// -- the room that the answer bar covers, so that nothing in focus hides behind it --

const deck = document.getElementById("choices");
new ResizeObserver(() => {
  const stuck = getComputedStyle(deck).position === "sticky";
  document.documentElement.style.setProperty("--covered", stuck ? `${deck.offsetHeight}px` : "0px");
}).observe(deck);

// -- draft: what was typed and ticked, until the answer is saved --

const DRAFT = `sage-draft-${form.dataset.draft}`;
const typed = () => [...new FormData(form)].filter(([name]) => /^(reason|tags|prediction|spans|criterion_)/.test(name));

function restore(pairs) {
  for (const field of form.querySelectorAll("[type=radio], [type=checkbox]")) {
    if (field.name) field.checked = pairs.some(([name, value]) => name === field.name && value === field.value);
  }
  form.elements.reason.value = pairs.find(([name]) => name === "reason")?.[1] ?? "";
  form.elements.spans.value = pairs.find(([name]) => name === "spans")?.[1] ?? "";
  document.dispatchEvent(new Event("draft"));
  document.querySelector(".why").open ||= pairs.some(([name, value]) => /^(reason|tags)$/.test(name) && value);
}

if (!("filled" in form.dataset)) {
  const kept = sessionStorage.getItem(DRAFT);
  if (kept) restore(JSON.parse(kept));
}
form.addEventListener("input", () => sessionStorage.setItem(DRAFT, JSON.stringify(typed())));
