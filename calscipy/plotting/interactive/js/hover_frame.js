// One cell of a tooltip, which Bokeh shows as text: `value` is what the image shows under the pointer.
const {x, y} = special_vars;
const place = (at, axis) => ((at - start[axis]) / step[axis]);
if (format === "x") return number_text(start[1] + (Math.floor(place(x, 1)) + 0.5) * step[1]);
if (format === "y") return number_text(start[0] + (Math.floor(place(y, 0)) + 0.5) * step[0]);
if (format === "value") return number_text(value);
const [, height, width] = map.shape;
const row = Math.floor(place(y, 0)), column = Math.floor(place(x, 1));
const found = map[(shown.data.plane[0] * height + row) * width + column];
return found > 0 ? names[found - 1] : "none";
