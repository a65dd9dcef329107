// Mark what was clicked, ask for its time course, and choose the neuron that lies there.
const row = Math.floor((cb_obj.y - start[0]) / step[0]);
const column = Math.floor((cb_obj.x - start[1]) / step[1]);
mark.data = {x: [cb_obj.x], y: [cb_obj.y]};
tapped.data = {number: [tapped.data.number[0] + 1], x: [cb_obj.x], y: [cb_obj.y]};
if (map !== null && pick !== null) {
  const [, height, width] = map.shape;
  if (row < 0 || column < 0 || row >= height || column >= width) return;
  const found = map[(shown.data.plane[0] * height + row) * width + column];
  if (found > 0) pick.value = found - 1;
}
