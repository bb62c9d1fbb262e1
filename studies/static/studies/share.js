// Shows a button that copies the raters' link, where the browser allows it.
"use strict";

const link = document.getElementById("rater-link");
const copy = document.getElementById("copy");

copy.hidden = !navigator.clipboard;
copy.addEventListener("click", async () => {
  await navigator.clipboard.writeText(link.value);
  document.getElementById("copied").textContent = "Copied.";
});
link.addEventListener("focus", () => link.select());
