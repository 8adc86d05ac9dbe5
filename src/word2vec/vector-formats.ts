// Names of the formats of word vectors. Apart from reading and writing, so that who only names them loads neither.

export const vectorFormats = ["text", "binary"] as const;
export type VectorFormat = (typeof vectorFormats)[number];

export function formatOf(path: string): VectorFormat {
  return /\.(vec|txt)$/i.test(path) ? "text" : "binary";
}
