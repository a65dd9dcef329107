// One cell of a tooltip, which Bokeh shows as text: `value` is the time under the pointer, `format` says what is wanted.
if (format === "neuron") return names[pick.value].replace(/^neuron /, "");
if (format === "time") return value.toFixed(3);
const {time, mean, lower, upper} = means.data;
const at = nearest(time, value);
if (format === "mean") return number_text(mean[at]);
return `${number_text(lower[at])} … ${number_text(upper[at])}`;
