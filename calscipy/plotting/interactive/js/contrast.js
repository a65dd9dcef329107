// Show the values between the two handles from dark to bright.
const [low, high] = cb_obj.value;
mapper.setv({low, high: high > low ? high : low + 1e-9});
