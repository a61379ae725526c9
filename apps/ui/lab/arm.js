// The arm of the Lab: a click on a picture sends its place as the target.
document.addEventListener("click", (event) => {
  const picture = event.target.closest(".vf-arm-stages svg");
  if (!picture) return;
  const box = picture.getBoundingClientRect();
  const { left, top, unit } = picture.dataset;
  const scale = picture.viewBox.baseVal.width / box.width / Number(unit);
  const rounded = (value) => Math.round(100 * value) / 100;
  const out = rounded(Number(left) + (event.clientX - box.left) * scale);
  const up = rounded(Number(top) - (event.clientY - box.top) * scale);
  picture.dispatchEvent(new CustomEvent("vf-payload", { bubbles: true, detail: { out, up } }));
});
