"use strict";
document.querySelectorAll("section").forEach(section => section.querySelectorAll("button").forEach(button => button.onclick = () => {
  section.querySelectorAll("button").forEach(b => b.classList.toggle("on", b === button));
  const cell = button.dataset.cell;
  section.querySelectorAll(".q").forEach(q => q.classList.toggle("hidden", cell !== "all" && q.dataset.cell !== cell));
  section.querySelectorAll(".card").forEach(c => c.classList.toggle("hidden", !c.querySelector(".q:not(.hidden)") && cell !== "all"));
}));
