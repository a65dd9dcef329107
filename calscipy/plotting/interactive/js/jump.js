// Show the frame of the time that was clicked.
slider.value = nearest(times, cb_obj.x);
