// Adds single keys, a clock and a guard against double sending. Without it the page is a plain form.
"use strict";

const form = document.getElementById("answer");
const undo = document.getElementById("undo");
const keys = document.getElementById("keys");
const shown = performance.now();
let sending = false;

const KEYS = { a: "a", 1: "a", b: "b", 2: "b", t: "tie", 3: "tie", 0: "tie", x: "both_bad", 4: "both_bad" };
const STORED = "sage-keys";

function setKeys(on) {
  keys.checked = on;
  document.body.classList.toggle("keys-on", on);
}

function typing(target) {
  return target instanceof Element && target.closest("textarea, select, [contenteditable], input:not([type=checkbox])");
}

function pressed(event) {
  if (!keys.checked || event.repeat || event.isComposing || typing(event.target)) return;
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  const key = event.key.toLowerCase();
  const choice = KEYS[key];
  if (key === "u" && undo) {
    event.preventDefault();
    undo.requestSubmit();
  } else if (choice) {
    event.preventDefault();
    form.requestSubmit(form.querySelector(`button[value="${choice}"]`));
  }
}

// One sending per page, whichever form it is: a second press while the first is on its way does nothing.
function submitted(event) {
  if (sending) {
    event.preventDefault();
    return;
  }
  sending = true;
  document.body.classList.add("sending");
  form.elements.seconds.value = ((performance.now() - shown) / 1000).toFixed(2);
}

setKeys(localStorage.getItem(STORED) !== "off");
keys.closest("label").hidden = false;
keys.addEventListener("change", () => {
  setKeys(keys.checked);
  localStorage.setItem(STORED, keys.checked ? "on" : "off");
});
document.addEventListener("keydown", pressed);
form.addEventListener("submit", submitted);
if (undo) undo.addEventListener("submit", submitted);
// A page taken out of the browser's memory by "back" may be sent again; the server decides whether it counts.
addEventListener("pageshow", () => {
  sending = false;
  document.body.classList.remove("sending");
});
