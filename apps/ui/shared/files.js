// Lists of uploads: their buttons change the files in the browser. On the server, two clicks within one round trip
// would both find the files as they were before the first, and the later answer would undo the earlier.
(() => {
  const clicks = [];

  // While the click is on its way down: gradio's event, whose script asks for them, comes after it.
  document.addEventListener(
    "click",
    ({ target }) => {
      const button = target.closest(".vf-strip button");
      if (button) clicks.push({ ...button.dataset });
    },
    true
  );

  function changed(files, { action, key, index }) {
    const drawn = Number(index); // tells it from others of the same content, if it is still there
    const at = files[drawn]?.path === key ? drawn : files.findIndex(({ path }) => path === key);
    if (at < 0) return files;
    const rest = files.toSpliced(at, 1);
    const to = { earlier: Math.max(0, at - 1), later: at + 1 }[action];
    return to === undefined ? rest : rest.toSpliced(to, 0, files[at]);
  }

  // The files after the clicks on their list since the last call; null for none.
  window.vfChanged = (files) => {
    const left = clicks.splice(0).reduce(changed, files ?? []);
    return left.length ? left : null;
  };
})();
