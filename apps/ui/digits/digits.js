// Digits: arrow keys among the classes.
(() => {
  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  // gradio names every radio button apart: make of them one stop of the Tab key, with arrows between.
  const classes = () => [...document.querySelectorAll(".vf-setting-label input")];
  const rove = () => classes().forEach((input) => (input.tabIndex = input.checked ? 0 : -1));

  document.addEventListener("change", ({ target }) => target.matches(".vf-setting-label input") && rove());
  document.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    const all = classes();
    const at = all.indexOf(event.target);
    if (!move || at < 0) return;
    event.preventDefault();
    const next = all[(at + move[0] + move[1] + all.length) % all.length];
    next.click();
    next.focus();
  });

  new MutationObserver(rove).observe(document.documentElement, { childList: true, subtree: true });
})();
