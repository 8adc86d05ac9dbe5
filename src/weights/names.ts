// What PyTorch and Hugging Face call the parameters of our layers and models.

/** Where a parameter stands in a file. */
export interface WeightSource {
  readonly name: string;
  /** The parameter is one of `of` equal parts along the tensor's first axis, as query, key and value of `in_proj_weight`. */
  readonly part?: { readonly index: number; readonly of: number };
  /** The tensor has our axes: nothing is transposed. */
  readonly asIs?: boolean;
}

/**
 * The place of our parameter `ours` in a file, where the format would look for `theirs`. A name alone keeps the part and the
 * axes that the format gives; a source says all; of several, the first that the file has is read, and the first written.
 * `undefined` leaves it to the format.
 * @example (ours, theirs) => theirs.replace("backbone.", "features.")
 */
export type WeightNames = (ours: string, theirs: string) => string | WeightSource | readonly WeightSource[] | undefined;

/**
 * - `pytorch`: names as ours with dots, layouts of `torch.nn`; so stand torchvision's ResNet-50 and VGG-16;
 * - `transformer`: the same, with `torch.nn.TransformerEncoderLayer` and `…DecoderLayer` for `nn.transformerLayer`;
 * - `bert`, `gpt2`: those of Hugging Face's transformers, with the prefix of the model or without.
 */
export type WeightFormat = "pytorch" | "transformer" | "bert" | "gpt2";

interface Format {
  sources(name: string): readonly WeightSource[];
  /** Tensors that are no parameters, or copies of some. */
  readonly ignored: RegExp;
}

const PARTS = ["query", "key", "value"];

/** As `torch.nn` names it: recurrent layers NAME/0/weight-ih → NAME.weight_ih_l0, norms gamma → weight. */
function torchName(name: string): string {
  return name
    .replace(/(^|\/)(\d+)\/(weight|bias)-(ih|hh)$/, "$1$3_$4_l$2")
    .replace(/(^|\/)gamma$/, "$1weight")
    .replace(/(^|\/)beta$/, "$1bias")
    .replace(/(^|\/)running-mean$/, "$1running_mean")
    .replace(/(^|\/)running-variance$/, "$1running_var")
    .replaceAll("/", ".");
}

const dotted = (name: string): string => name.replaceAll("/", ".");

/** Names of a model that its own class writes with a prefix and its inner one without; norms of old files have gamma. */
function prefixed(name: string, prefix: string): string[] {
  const names = [...new Set([torchName(name), dotted(name)])];
  return [...names, ...names.filter((it) => it.startsWith(prefix)).map((it) => it.slice(prefix.length))];
}

function transformerSource(name: string): WeightSource {
  const [, scope, attention, part, kind] =
    /^(|.*\/)(attention|cross)\/(query|key|value|output)\/(weight|bias)$/.exec(name) ?? [];
  if (attention !== undefined) {
    const module = dotted(`${scope}${attention === "cross" ? "multihead_attn" : "self_attn"}`);
    if (part === "output") return { name: `${module}.out_proj.${kind}` };
    return { name: `${module}.in_proj_${kind}`, part: { index: PARTS.indexOf(part!), of: PARTS.length } };
  }
  return { name: torchName(name.replace(/(^|\/)inner\//, "$1linear1/").replace(/(^|\/)outer\//, "$1linear2/")) };
}

const BUFFERS = /(^|\.)num_batches_tracked$/;

const formats: Readonly<Record<WeightFormat, Format>> = {
  pytorch: { sources: (name) => [{ name: torchName(name) }], ignored: BUFFERS },
  transformer: { sources: (name) => [transformerSource(name)], ignored: BUFFERS },
  bert: {
    sources: (name) => prefixed(name, "bert.").map((it) => ({ name: it })),
    ignored: /(^|\.)position_ids$/,
  },
  gpt2: {
    // Its Conv1D multiplies by [in,out].
    sources(name) {
      const layout = /(^|\/)(attn|mlp)\/c_\w+\/weight$/.test(name) ? { asIs: true } : {};
      return prefixed(name, "transformer.").map((it) => ({ name: it, ...layout }));
    },
    // The causal mask, and the tied output.
    ignored: /(^|\.)(attn\.(masked_)?bias|lm_head\.weight)$/,
  },
};

export interface NamingOptions {
  /** Names and layouts of the file; default "pytorch". */
  readonly format?: WeightFormat;
  /** Names of your own, before those of the format. */
  readonly names?: WeightNames;
}

/** @throws TypeError for a format that there is not */
export function naming({ format = "pytorch", names }: NamingOptions): Format {
  if (!Object.hasOwn(formats, format)) {
    const all = Object.keys(formats).join(", ");
    throw new TypeError(`weights: format ${JSON.stringify(format)} is unknown; choose one of ${all}`);
  }
  const { sources, ignored } = formats[format];
  return {
    ignored,
    sources(name) {
      const known = sources(name);
      const own = names?.(name, known[0]!.name);
      if (own === undefined) return known;
      if (typeof own === "string") return [{ ...known[0], name: own }];
      return "name" in own ? [own] : own;
    },
  };
}
