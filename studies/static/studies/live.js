// Keeps #live current: a socket pushes its content; while no socket is open, the page itself is asked again.
"use strict";

const live = document.getElementById("live");
const SLOW = 30000; // ms between looks while the socket is open: a lost push costs no more than this
const FAST = 3000; // ms between looks while it is not
let open = false;
let looked = performance.now();

function show(html) {
  if (html.trim() === live.innerHTML.trim()) return;
  const focused = live.contains(document.activeElement) ? document.activeElement.id : "";
  live.innerHTML = html;
  if (focused) document.getElementById(focused)?.focus();
}

async function look() {
  looked = performance.now();
  let response;
  try {
    response = await fetch(location.href, { credentials: "same-origin" });
  } catch {
    return; // offline: the next look tries again
  }
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.getElementById("live");
  if (fresh) show(fresh.innerHTML);
  else location.reload(); // the waiting is over: another page is there now
}

function connect() {
  const address = new URL(live.dataset.socket, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  socket.onopen = () => { open = true; };
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.ready) location.reload();
    else show(message.html);
  };
  socket.onclose = () => {
    open = false;
    setTimeout(connect, 5000 + Math.random() * 5000);
  };
}

connect();
setInterval(() => {
  if (performance.now() - looked > (open ? SLOW : FAST)) look();
}, 1000);
