// Unpack the rows of one neuron from the data that the page holds.
const times_of = (clock, numbers) => {
  const out = new Float64Array(numbers.length);
  if (clock.times) {
    for (let i = 0; i < out.length; i++) out[i] = clock.times[numbers[i]];
    return out;
  }
  let part = 0;
  for (let i = 0; i < out.length; i++) {
    while (part + 1 < clock.first.length && numbers[i] >= clock.first[part + 1]) part++;
    out[i] = clock.start[part] + (numbers[i] - clock.first[part]) * clock.step[part];
  }
  return out;
};

const line = (layer, row) => {
  const value = decoded(layer, row);
  let numbers = layer.numbers;
  if (layer.steps) {
    const begin = row * value.length;
    numbers = new Float64Array(value.length);
    for (let i = 0, at = 0; i < numbers.length; i++) numbers[i] = at += layer.steps[begin + i];
  }
  return {time: times_of(layer.clock, numbers), value};
};

const row = request.data.row[0];
for (const layer of layers) {
  if (layer.marks) {
    const numbers = [];
    for (let i = layer.first[row]; i < layer.first[row + 1]; i++) numbers.push(layer.marks[i]);
    layer.source.data = {time: times_of(layer.clock, numbers)};
  } else layer.source.data = line(layer, row);
}
shown.data = {number: request.data.number, row: [row]};
