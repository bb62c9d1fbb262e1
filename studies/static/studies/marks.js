// Lets a rater mark passages of either explanation and comment on them. Positions are counted in characters
// (code points, as the server counts them) from the beginning of the explanation.

const LIMIT = 50;
const COMMENT = 500;
const form = document.getElementById("answer");
const field = form.elements.spans;
const words = document.getElementById("mark-words").dataset;
const status = document.getElementById("mark-status");
const texts = [...form.querySelectorAll(".text[data-side]")];
let marks = JSON.parse(field.value || "[]");

const points = (text) => [...text].length;

// -- between the page and positions in the text --

function positionOf(node, offset) {
  const element = node.nodeType === Node.TEXT_NODE ? node.parentElement : node;
  const paragraph = element.closest("p[data-start]");
  if (!paragraph) return null;
  const range = document.createRange();
  range.setStart(paragraph, 0);
  range.setEnd(node, offset);
  return Number(paragraph.dataset.start) + points(range.toString());
}

function placeOf(text, position) {
  const paragraphs = [...text.querySelectorAll("p[data-start]")];
  const paragraph = paragraphs.filter((other) => Number(other.dataset.start) <= position).pop() || paragraphs[0];
  let left = position - Number(paragraph.dataset.start);
  const walker = document.createTreeWalker(paragraph, NodeFilter.SHOW_TEXT);
  let node = walker.nextNode();
  while (node && points(node.data) < left) {
    left -= points(node.data);
    node = walker.nextNode();
  }
  return node ? [node, [...node.data].slice(0, left).join("").length] : [paragraph, paragraph.childNodes.length];
}

function rangeOf(text, start, end) {
  const range = document.createRange();
  range.setStart(...placeOf(text, start));
  range.setEnd(...placeOf(text, end));
  return range;
}

function selected(text) {
  const selection = getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  if (!text.contains(range.startContainer) || !text.contains(range.endContainer)) return null;
  const start = positionOf(range.startContainer, range.startOffset);
  const end = positionOf(range.endContainer, range.endOffset);
  return start === null || end === null || start >= end ? null : { start, end };
}

// -- words, for the keyboard: arrows go from word to word, with shift they take more --

function wordsOf(text) {
  return [...text.querySelectorAll("p[data-start]")].flatMap((paragraph) =>
    [...paragraph.textContent.matchAll(/\S+/gu)].map((word) => {
      const start = Number(paragraph.dataset.start) + points(paragraph.textContent.slice(0, word.index));
      return { start, end: start + points(word[0]) };
    }));
}

function step(text, event) {
  if (event.target !== text || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter") return mark(text, event);
  if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
  event.preventDefault();
  const all = wordsOf(text);
  const at = text.cursor || { from: -1, to: -1 };
  const to = Math.min(Math.max(at.to + (event.key === "ArrowRight" ? 1 : -1), 0), all.length - 1);
  text.cursor = { from: event.shiftKey && at.from >= 0 ? at.from : to, to };
  const [first, last] = [text.cursor.from, text.cursor.to].sort((a, b) => a - b);
  const range = rangeOf(text, all[first].start, all[last].end);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  if (status.textContent !== range.toString()) status.textContent = range.toString();
}

// -- the list of marks --

function mark(text, event) {
  event.preventDefault();
  const found = selected(text);
  if (!found || marks.length >= LIMIT) {
    status.textContent = found ? words.full : words.none;
    return;
  }
  marks.push({ side: text.dataset.side, ...found, comment: "" });
  getSelection().removeAllRanges();
  changed();
  const inputs = text.closest(".card").querySelectorAll(".marks input");
  inputs[inputs.length - 1].focus();
}

function changed() {
  field.value = marks.length ? JSON.stringify(marks) : "";
  field.dispatchEvent(new Event("input", { bubbles: true }));
  draw();
}

function draw() {
  for (const text of texts) {
    const list = text.closest(".card").querySelector(".marks");
    list.replaceChildren(...marks.filter((one) => one.side === text.dataset.side).map((one) => item(text, one)));
    list.hidden = !list.children.length;
  }
  if (!("highlights" in CSS)) return; // the list names the passages in any case
  const ranges = marks.map((one) => rangeOf(texts.find((text) => text.dataset.side === one.side), one.start, one.end));
  CSS.highlights.set("marked", new Highlight(...ranges));
}

function item(text, one) {
  const quote = rangeOf(text, one.start, one.end).toString();
  const passage = document.createElement("q");
  passage.textContent = quote;
  const comment = document.createElement("input");
  comment.type = "text";
  comment.maxLength = COMMENT;
  comment.value = one.comment;
  comment.placeholder = words.comment;
  comment.setAttribute("aria-label", `${words.comment}: ${quote}`);
  comment.addEventListener("input", () => {
    one.comment = comment.value;
    field.value = JSON.stringify(marks);
  });
  const remove = document.createElement("button");
  remove.type = "button";
  remove.textContent = words.remove;
  remove.setAttribute("aria-label", `${words.remove}: ${quote}`);
  remove.addEventListener("click", () => {
    marks = marks.filter((other) => other !== one);
    changed();
    text.focus();
  });
  const line = document.createElement("li");
  line.append(passage, comment, remove);
  return line;
}

for (const text of texts) {
  const button = text.closest(".card").querySelector(".mark");
  button.hidden = false;
  text.tabIndex = 0;
  text.setAttribute("role", "group");
  text.setAttribute("aria-labelledby", text.closest(".card").getAttribute("aria-labelledby"));
  text.setAttribute("aria-describedby", "mark-help");
  text.addEventListener("keydown", (event) => step(text, event));
  // A press on a button would drop the selection before it is read.
  button.addEventListener("pointerdown", (event) => event.preventDefault());
  button.addEventListener("click", (event) => mark(text, event));
}
document.addEventListener("draft", () => {
  marks = JSON.parse(field.value || "[]");
  draw();
});
draw();
