// One cell of a tooltip, which Bokeh shows as text. `value` is the time of the sample under the pointer, `format` says what
// is wanted: the neuron, the time, or the number of a data set.
if (format === "neuron") return names[pick.value].replace(/^neuron /, "");
if (format === "time") return value.toFixed(3);
const {time, value: values} = sources[Number(format)].data;
if (time.length === 0) return "no value";
const at = nearest(time, value);
const text = number_text(values[at]);
return Math.abs(time[at] - value) < 0.0005 ? text : `${text} (at ${time[at].toFixed(3)} s)`;
