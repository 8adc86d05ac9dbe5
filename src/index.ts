// flotilla: distributed deep-learning training for Node.js.
export * as checkpoint from "./checkpoint/index.ts";
export * as cluster from "./cluster/index.ts";
export * as collective from "./collective/index.ts";
export * as data from "./data/index.ts";
export * as doctor from "./engine/doctor/index.ts";
export * as fleet from "./fleet/index.ts";
export * as metrics from "./metrics/index.ts";
export * as models from "./models/index.ts";
export * as net from "./net/index.ts";
export * as nn from "./nn/index.ts";
export * as onnx from "./onnx/index.ts";
export * as optim from "./optim/index.ts";
export * as report from "./report/index.ts";
export * as weights from "./weights/index.ts";
