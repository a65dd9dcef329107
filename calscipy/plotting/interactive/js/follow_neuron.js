// Say which neuron is shown and fit the axes to it.
const row = shown.data.row[0];
title.text = `${names[row]} · ${row + 1} of ${names.length}`;
for (const panel of panels) fit(range, panel);
