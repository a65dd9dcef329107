// Say which frame is shown: title, marks on the time axes, contrast of its channel, ROIs of its
// plane, and the ROI of the neuron that is chosen.
const at = (name) => shown.data[name][0];
const position = at("frame");
const parts = [`frame ${numbers[position]}`];
if (timed) parts.push(`${times[position].toFixed(3)} s`);
if (channels.length) parts.push(channels[at("channel")]);
if (planes.length) parts.push(planes[at("plane")]);
if (valid) {
  const [, several, deep] = valid.shape;
  if (!valid[(position * several + at("channel")) * deep + at("plane")])
    parts.push("missing or damaged");
}
title.text = at("problem") || parts.join(" · ");
for (const span of spans) span.location = times[position];

const seen = `${at("channel")} ${at("floor")} ${at("ceiling")}`;
memory.contrast ??= new Map();
const before = memory.contrast.get(contrast.id) ?? `0 ${contrast.start} ${contrast.end}`;
if (seen !== before) {
  const value = [at("low"), at("high")];
  contrast.setv({
    start: at("floor"), end: at("ceiling"), step: (at("ceiling") - at("floor")) / 500, value,
  });
  mapper.setv({low: value[0], high: value[1]});
}
memory.contrast.set(contrast.id, seen);

if (rois) {
  const {row, plane} = rois.data;
  const chosen = pick === null ? -1 : pick.value;
  const key = `${at("plane")} ${chosen}`;
  memory.outlines ??= new Map();
  if (memory.outlines.get(rois.id) !== key) {
    memory.outlines.set(rois.id, key);
    rois.data.alpha = Float32Array.from(plane, (own) => (own === at("plane") ? 1 : 0));
    rois.data.width = Float32Array.from(row, (own) => (own === chosen ? 3.5 : 1.4));
    rois.change.emit();
  }
}
