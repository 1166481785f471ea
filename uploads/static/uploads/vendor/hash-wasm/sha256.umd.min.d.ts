// Ours, for the type check only: what the file beside it sets when it is loaded as a module.
interface Sha256 {
  update(data: Uint8Array): Sha256;
  digest(form: "hex"): string;
}
declare global {
  var hashwasm: { createSHA256(): Promise<Sha256> };
}
export {};
