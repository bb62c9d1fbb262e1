// Sends answers and loses none: each is kept in this browser until the server has said that it is stored.
// On every page of a rater, so that an answer kept while offline is sent from whichever page comes next.

const STORED = "sage-unsent";
const SOONEST = 2000; // ms to the first new try, doubling up to LATEST
const LATEST = 30000;
const TIMEOUT = 20000;
const form = document.getElementById("answer");
const note = document.getElementById("connection");
const words = note.dataset;
let sending = false;
let pause = SOONEST;
let timer = 0;

function unsent() {
  return JSON.parse(localStorage.getItem(STORED) || "[]");
}

function keep(entries) {
  localStorage.setItem(STORED, JSON.stringify(entries));
}

function drop(entry) {
  keep(unsent().filter((other) => other.key !== entry.key));
}

function say(text, urgent = false) {
  note.classList.toggle("urgent", urgent);
  if (note.textContent !== text) note.textContent = text;
}

// With this page's token: the one that was kept may be of an earlier visit.
function bodyOf(entry) {
  const body = new URLSearchParams(entry.body);
  const token = document.querySelector("input[name=csrfmiddlewaretoken]");
  if (token) body.set("csrfmiddlewaretoken", token.value);
  return body;
}

// What the server will not take is sent again as a plain form, so that its page says why and keeps what was typed.
function hand(entry) {
  const plain = document.createElement("form");
  plain.method = "post";
  plain.action = entry.url;
  for (const [name, value] of bodyOf(entry)) {
    const field = document.createElement("input");
    field.type = "hidden";
    field.name = name;
    field.value = value;
    plain.append(field);
  }
  document.body.append(plain);
  plain.submit();
}

async function post(entry) {
  const response = await fetch(entry.url, {
    method: "POST",
    headers: { Accept: "application/json" },
    body: bodyOf(entry),
    signal: AbortSignal.timeout(TIMEOUT),
  });
  if (response.status >= 500 || response.status === 429) throw new Error(`status ${response.status}`);
  const json = (response.headers.get("Content-Type") || "").startsWith("application/json");
  return response.ok && json ? response.json() : { saved: false };
}

async function flush() {
  clearTimeout(timer);
  const [entry] = unsent();
  if (!entry || sending) return;
  sending = true;
  let said;
  try {
    said = await post(entry);
  } catch {
    sending = false;
    say(words.kept, true);
    timer = setTimeout(flush, pause);
    pause = Math.min(2 * pause, LATEST);
    return;
  }
  drop(entry);
  if (!said.saved) return hand(entry);
  sessionStorage.removeItem(`sage-draft-${entry.draft}`);
  sending = false;
  if (unsent().length) return flush();
  say(words.sent);
  location.assign(said.next);
}

function submitted(event) {
  if (sending || document.body.classList.contains("sending")) return event.preventDefault();
  if (event.submitter?.name === "choice" && !event.submitter.value) return event.preventDefault();
  if (event.target !== form) return document.body.classList.add("sending");
  const body = new URLSearchParams(new FormData(form, event.submitter)).toString();
  try {
    keep([...unsent(), { key: form.elements.client_key.value, draft: form.dataset.draft, url: form.getAttribute("action"), body }]);
  } catch {
    return document.body.classList.add("sending"); // no room to keep it: sent as a plain form
  }
  event.preventDefault();
  document.body.classList.add("sending");
  event.submitter?.classList.add("chosen");
  return flush();
}

if (form) document.addEventListener("submit", submitted);
addEventListener("online", () => {
  pause = SOONEST;
  if (!unsent().length) say("");
  flush();
});
addEventListener("offline", () => say(unsent().length ? words.kept : words.offline, true));
// A page taken out of the browser's memory by "back" shows a place that may be past.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
if (unsent().length) document.body.classList.add("sending");
flush();
