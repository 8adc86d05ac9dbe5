// From values to ids: the hash of features by itself, and the same ids in a batch.
import { data, fleet } from "../src/index.ts";

const hex = (id: bigint): string => `0x${id.toString(16).padStart(16, "0")}`;
console.log(hex(data.featureId(0, "68fd1e64")));
console.log(hex(data.featureId(1, "68fd1e64")));
console.log(hex(data.featureId(0, 7)), data.featureId(0, 7) === data.featureId(0, "7"));
console.log(hex(data.crossId(2, ["north", 7])));
console.log(data.featureId(0, "68fd1e64", 1000));

const dataset = data.csv("unused.csv", {
  batch: 4,
  schema: { categorical: ["shop", "hour", { cross: ["shop", "hour"] }] },
});
const { heap } = await fleet.init({ threads: 1 });
const encoder = data.RowEncoder.create(heap, dataset, ["shop", "hour"]);
encoder.encodeObjects([{ shop: "north", hour: 7 }]);
const { offset, width } = data.columnOf(dataset.layout, "categorical");
const [shop, hour, cross] = heap.u64(encoder.slot + offset, width);
console.log(
  shop === data.featureId(0, "north"),
  hour === data.featureId(1, 7),
  cross === data.crossId(2, ["north", 7]),
);
