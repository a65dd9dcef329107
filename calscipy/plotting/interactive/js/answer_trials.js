// Unpack the trials of one neuron: means and intervals of all conditions, then single trials.
const row = request.data.row[0];
const values = decoded(data, row);
const n = times.length;
let at = 0;
const next = () => values.subarray(at, at += n);
for (const {means} of panels) means.data = {time: times, mean: next(), lower: next(), upper: next()};
panels.forEach(({lines}, i) => {
  const value = Array.from({length: counts[i]}, next);
  lines.data = {time: value.map(() => times), value};
});
shown.data = {number: request.data.number, row: [row]};
