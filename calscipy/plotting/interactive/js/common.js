// What the scripts of interactive figures share; it stands before each of them.
const memory = (window.calscipy ??= {timers: new Map(), keys: new Map(), active: null});

const number_text = (value, digits = 5) =>
  Number.isFinite(value) ? String(Number(value.toPrecision(digits))) : "no value";

const escaped = (text) =>
  String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

// The number of the value that is nearest, in an increasing list.
const nearest = (list, value) => {
  let low = 0, high = list.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && value - list[low - 1] <= list[low] - value ? low - 1 : low;
};

// Run something once things have been still for a while.
const later = (name, milliseconds, action) => {
  clearTimeout(memory.timers.get(name));
  memory.timers.set(name, setTimeout(action, milliseconds));
};

// Let a range hold some values.
const spread = (range, low, high) => {
  if (low > high) return;
  const margin = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
  range.setv({start: low - margin, end: high + margin});
};

// Make a range as large as what is drawn within the times that are shown.
const fit = (x_range, panel) => {
  let low = Infinity, high = -Infinity;
  for (const source of panel.sources) {
    const {time, value} = source.data;
    for (let i = 0; i < time.length; i++) {
      if (time[i] < x_range.start || time[i] > x_range.end) continue;
      if (value[i] < low) low = value[i];
      if (value[i] > high) high = value[i];
    }
  }
  spread(panel.range, low, high);
};

// The values of a row that were written as whole numbers of 16 bits, or as they are.
const decoded = (data, row) => {
  const points = data.values.length / data.rows, begin = row * points;
  const values = new Float64Array(points);
  for (let i = 0; i < points; i++) {
    const code = data.values[begin + i];
    if (!data.scale) values[i] = code;
    else values[i] = code === -32768 ? NaN : code * data.scale[row] + data.offset[row];
  }
  return values;
};
