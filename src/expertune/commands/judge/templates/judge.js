// Keys press the page's own buttons; without this script the page works by touch and mouse.
"use strict";
const press = (id) => document.getElementById(id)?.click();
const find = document.getElementById("find");
if (find && !find.value) find.focus(); // before any key is heard: what is typed must not be taken for one
const boxes = [...document.querySelectorAll("input[name=right]")];
const any = () => boxes.some((box) => box.checked);
let sent = false;
document.querySelector("form")?.addEventListener("submit", (event) => {
  if (sent) event.preventDefault(); // A key held down must not judge the next question too.
  sent = true;
});
window.addEventListener("pageshow", () => { sent = false; });
const keys = {
  0: () => press("none"), s: () => press("skip"), u: () => press("undo"), Escape: () => press("back"),
  Enter: () => press("save"),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target === find) {
    if (event.key === "Enter" && !find.value.trim()) { event.preventDefault(); press(any() ? "save" : "none"); }
    if (event.key === "Escape") press("back");
    return;
  }
  if (event.key === "Enter" && event.target.closest("button, a, summary")) return; // it presses what has the focus
  const box = boxes[Number(event.key) - 1];
  if (/^[1-9]$/.test(event.key)) { if (box) { box.click(); box.focus(); } } else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
});
