// Lists of uploads: their buttons change and sort the files in the browser. On the server, two clicks within one round trip
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

  // The order of vflow.data.media.natural_key: numbers as such and before text, whatever the case of letters; an equal
  // name's own characters decide.
  function keyOf({ path }) {
    const name = path.split(/[\\/]/).at(-1);
    const parts = name.toUpperCase().toLowerCase().split(/([0-9]+)/).filter(Boolean);
    return [...parts.map((part) => (/^[0-9]/.test(part) ? [1, BigInt(part)] : [2, part])), [0, name]];
  }

  function compare(a, b) {
    const at = a.findIndex(([rank, part], index) => rank !== b[index][0] || part !== b[index][1]);
    if (at < 0) return 0;
    const [[rank, part], [other, theirs]] = [a[at], b[at]];
    return rank - other || (part < theirs ? -1 : 1);
  }

  // All files of the lists, in that order; null for none.
  window.vfByName = (...lists) => {
    const files = lists.flatMap((list) => list ?? []).map((file) => [keyOf(file), file]);
    return files.length ? files.sort(([a], [b]) => compare(a, b)).map(([, file]) => file) : null;
  };
})();
