// Draw the time course of the pixel that was clicked, over the frames that the page holds.
const pictures = codes.data.pictures[0];
const [, planes, frames, height, width] = pictures.shape;
const clamp = (value, size) => Math.min(size - 1, Math.max(0, Math.floor(value)));
const row = clamp((tapped.data.y[0] - start[0]) / step[0], height);
const column = clamp((tapped.data.x[0] - start[1]) / step[1], width);
const channel = shown.data.channel[0], plane = shown.data.plane[0];
const [low, high] = ends[channel];
const value = new Float64Array(frames);
for (let i = 0; i < frames; i++) {
  const code = pictures[(((channel * planes + plane) * frames + i) * height + row) * width + column];
  value[i] = code > 254 ? NaN : low + code * (high - low) / 254;
}
course.data = {time: times, value};
fit(x_range, {range, sources: [course]});
const place = (at, axis) => number_text(start[axis] + (at + 0.5) * step[axis], 4);
title.text = `pixel at y ${place(row, 0)}, x ${place(column, 1)} · the ${frames} frames of this page`;
