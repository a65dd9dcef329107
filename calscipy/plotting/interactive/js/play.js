// Show one frame after the other, and begin anew after the last. The next one waits for the one
// before, however long it takes to read.
toggle.label = toggle.active ? "❚❚ stop" : "▶ play";
const step_on = () => {
  if (!toggle.active) return;
  if (request.data.number[0] === shown.data.number[0]) {
    const next = slider.value + step.value;
    slider.value = next > slider.end ? slider.start : next;
  }
  memory.timers.set(toggle.id, setTimeout(step_on, 1000 / rate.value));
};
clearTimeout(memory.timers.get(toggle.id));
if (toggle.active) step_on();
