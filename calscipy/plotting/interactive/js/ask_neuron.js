// Ask for the neuron and the times that the controls say. While a question is being answered the
// next one waits: the answer asks again.
const ask = () => {
  const asked = request.data;
  if (asked.number[0] !== shown.data.number[0]) return;
  const same = asked.row[0] === pick.value &&
    (!zoom || (asked.start[0] === range.start && asked.stop[0] === range.end));
  if (same) return;
  request.data = {
    number: [asked.number[0] + 1], row: [pick.value], start: [range.start], stop: [range.end],
  };
};
if (cb_obj === range) {
  if (zoom) later(request.id, 120, ask);
} else ask();
