// Step through things with the keyboard: in a page of its own always, among others (a notebook)
// while the pointer is over the figure. Installed once for each figure.
if (cb_obj.event_name === "mouseleave") {
  if (memory.active === name) memory.active = null;
  return;
}
if (cb_obj.event_name === "document_ready") memory.alone = true;
memory.active = name;
if (memory.keys.has(name)) return;
const listener = (event) => {
  if (!(memory.alone || memory.active === name)) return;
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const target = event.composedPath()[0];
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName ?? "") || target.isContentEditable) return;
  for (const {slider, steps} of sliders) {
    const by = steps[event.key];
    if (by === undefined || slider.disabled) continue;
    // Sliders that have been dragged listen to arrow keys too: one step is enough.
    event.preventDefault();
    event.stopImmediatePropagation();
    slider.value = Math.min(slider.end, Math.max(slider.start, slider.value + by));
    return;
  }
  if (event.key === " " && toggle !== null) {
    event.preventDefault();
    event.stopImmediatePropagation();
    toggle.active = !toggle.active;
  }
};
document.addEventListener("keydown", listener, true);
memory.keys.set(name, listener);
