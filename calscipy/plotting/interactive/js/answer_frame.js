// Unpack one frame from those that the page holds.
const want = request.data;
const pictures = codes.data.pictures[0];
const [, planes, frames, height, width] = pictures.shape;
const size = height * width;
const channel = want.channel[0], plane = want.plane[0], frame = want.frame[0];
const begin = ((channel * planes + plane) * frames + frame) * size;
const [low, high] = ends[channel];
const shade = (high - low) / 254;
const pixels = image.data.image[0];
for (let i = 0; i < size; i++) {
  const code = pictures[begin + i];
  pixels[i] = code > 254 ? NaN : low + code * shade;
}
image.change.emit();
const {low: dark, high: bright, floor, ceiling} = limits[channel];
shown.data = {
  number: want.number, frame: [frame], channel: [channel], plane: [plane],
  low: [dark], high: [bright], floor: [floor], ceiling: [ceiling], problem: [""],
};
