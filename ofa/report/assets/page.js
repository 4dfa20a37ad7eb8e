// Tooltips, and choosing a winner. The page says everything without this, too.
(() => {
  "use strict";
  const tip = document.getElementById("tip");
  const show = (mark, x, y) => {
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = x + 14 + box.width > window.innerWidth ? x - 14 - box.width : x + 14;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, Math.min(y + 14, window.innerHeight - box.height - 4))}px`;
  };
  const marked = (event) => (event.target instanceof Element ? event.target.closest("[data-tip]") : null);
  document.addEventListener("pointerover", (event) => {
    const mark = marked(event);
    if (mark) show(mark, event.clientX, event.clientY);
    else tip.hidden = true;
  });
  document.addEventListener("pointermove", (event) => {
    const mark = marked(event);
    if (mark) show(mark, event.clientX, event.clientY);
  });
  document.addEventListener("focusin", (event) => {
    const mark = marked(event);
    if (!mark) return;
    const box = mark.getBoundingClientRect();
    show(mark, box.right, box.bottom);
  });
  document.addEventListener("focusout", () => { tip.hidden = true; });

  const choose = (index) => {
    for (const network of document.querySelectorAll(".network")) network.hidden = network.dataset.winner !== index;
    for (const button of document.querySelectorAll(".chooser button")) button.setAttribute("aria-pressed", String(button.dataset.winner === index));
    for (const mark of document.querySelectorAll("path.winner[data-winner]")) mark.classList.toggle("chosen", mark.dataset.winner === index);
  };
  const chooser = document.querySelector(".chooser");
  if (!chooser) return;
  chooser.hidden = false;
  document.addEventListener("click", (event) => {
    const chosen = event.target instanceof Element ? event.target.closest("button[data-winner], path[data-winner]") : null;
    if (chosen) choose(chosen.dataset.winner);
  });
  document.addEventListener("keydown", (event) => {
    if ((event.key === "Enter" || event.key === " ") && event.target instanceof Element && event.target.matches("path[data-winner]")) {
      event.preventDefault();
      choose(event.target.dataset.winner);
    }
  });
  choose(chooser.querySelector("button").dataset.winner);
})();
