// Options of the click models: defaults, refusals, names; and how many parameters they make.
import { describe, expect, test } from "vitest";
import {
  clickModelNames,
  create,
  dcnV2,
  deepFM,
  factorizationMachine,
  logisticRegression,
  type Model,
  wideAndDeep,
} from "./index.ts";
import { type Shape, traced } from "./testing.ts";

test("parameters are as many as the architectures say", () => {
  const count = (model: Model, shape: Shape): number => {
    const { parameters, values } = traced(model, shape);
    return Object.values(parameters)
      .filter(({ trainable }) => trainable)
      .reduce((n, { value }) => n + values[value]!.shape.reduce((a, b) => a * b, 1), 0);
  };
  const criteo = { rows: 2, dense: 13, categorical: 26, bags: {} };
  const options = { dense: 13, categorical: 26, dim: 16, hidden: [400, 400, 400] };
  const width = 26 * 16 + 13;
  const mlp = (width + 1) * 400 + 2 * 401 * 400;
  expect(count(logisticRegression({ dense: 13, categorical: 26 }), criteo)).toBe(1 + 13);
  expect(count(factorizationMachine({ dense: 13, categorical: 26 }), criteo)).toBe(1 + 13);
  expect(count(wideAndDeep(options), criteo)).toBe(14 + mlp + 400);
  expect(count(deepFM(options), criteo)).toBe(14 + mlp + 400);
  expect(count(deepFM({ ...options, norm: "layer" }), criteo)).toBe(14 + mlp + 3 * 400 + 400);
  expect(count(dcnV2(options), criteo)).toBe(3 * (width + 1) * width + mlp + width + 400 + 1);
});

describe("options", () => {
  test("have the defaults of the papers and survive JSON", () => {
    const model = deepFM({ categorical: 26, dense: 13 });
    expect(model.config).toMatchObject({
      dim: 16,
      hidden: [400, 400, 400],
      activation: "relu",
      norm: "none",
      dropout: 0,
    });
    for (const make of [logisticRegression, factorizationMachine, wideAndDeep, deepFM, dcnV2]) {
      const { name, config } = make({ dense: 2, categorical: 3, bags: ["tags"], seed: 7 });
      expect(create(name, JSON.parse(JSON.stringify(config))).config).toEqual(config);
    }
  });

  test.each([
    [() => deepFM({ dim: 0 }), /models\.deepFM.*dim/s],
    [() => deepFM({ hidden: [] }), /models\.deepFM.*hidden/s],
    [() => deepFM({ hiden: [3] } as never), /models\.deepFM.*hiden.*allowed: categorical, dense/s],
    [() => wideAndDeep({ dropout: 1 }), /models\.wideAndDeep.*dropout/s],
    [() => dcnV2({ norm: "group" as never }), /models\.dcnV2.*none.*norm/s],
    [() => logisticRegression({ dim: 4 } as never), /models\.logisticRegression.*dim/s],
    [() => create("resnet", {}), /model "resnet" is unknown; choose one of logisticRegression, factorizationMachine/],
    [() => create("toString", {}), /model "toString" is unknown/],
  ])("a wrong one is refused by name (%#)", (make, message) => {
    expect(make).toThrow(message);
  });

  test("a deep model without any column is refused when it is traced", () => {
    for (const make of [wideAndDeep, deepFM, dcnV2]) {
      const none = { rows: 2, dense: 0, categorical: 0, bags: {} };
      expect(() => traced(make({}), none)).toThrow(
        "the model has no input: give it categorical columns, bags or dense",
      );
    }
  });

  test("every model has a name under which it can be made again", () => {
    expect(clickModelNames).toEqual(["logisticRegression", "factorizationMachine", "wideAndDeep", "deepFM", "dcnV2"]);
  });
});
