// Say which neuron is shown and fit the axis of values, which all panels share, to it.
const row = shown.data.row[0];
const words = `>${escaped(names[row])} · ${row + 1} of ${names.length}<`;
which.text = which.text.replace(/>[^<]*</, () => words);
let low = Infinity, high = -Infinity;
const take = (values) => {
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
};
for (const {means, lines} of panels) {
  for (const name of ["mean", "lower", "upper"]) take(means.data[name]);
  lines.data.value.forEach(take);
}
spread(y_range, low, high);
