// Ask for the frame that the controls say. While a question is being answered the next one waits:
// the answer asks again, so that frames in between are left out where reading them is slow.
const asked = request.data;
if (asked.number[0] !== shown.data.number[0]) return;
const want = {frame: [slider.value], channel: [Number(channel.value)], plane: [plane.value]};
if (Object.keys(want).every((name) => want[name][0] === asked[name][0])) return;
request.data = {number: [asked.number[0] + 1], ...want};
