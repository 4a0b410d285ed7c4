// A JSON reader that keeps what JSON.parse loses: numbers as they are written,
// the order of keys, and keys that come twice. It does not recurse.

export type Node =
  | { kind: "object"; entries: [string, Node][] }
  | { kind: "array"; items: Node[] }
  | { kind: "string"; value: string }
  | { kind: "other"; raw: string };

const token = /[\s]*(?:([{}[\],:])|("(?:[^"\\\u0000-\u001f]|\\.)*")|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null))/y;

/** What may come: a value, a key, a colon, a comma or the end. */
type Want = "value" | "first" | "key" | "firstKey" | "colon" | "comma" | "end";

/** The document, or undefined where it is not JSON. */
export function parse(text: string): Node | undefined {
  const stack: { node: Extract<Node, { kind: "object" | "array" }>; key?: string }[] = [];
  let root: Node | undefined;
  let want: Want = "value";
  const is = (): Want => want; // or the compiler believes that it cannot change
  token.lastIndex = 0;
  const close = () => {
    stack.pop();
    want = stack.length > 0 ? "comma" : "end";
  };
  const put = (n: Node): boolean => {
    const top = stack.at(-1);
    if (!top) root = n;
    else if (top.node.kind === "array") top.node.items.push(n);
    else top.node.entries.push([top.key ?? "", n]);
    want = top ? "comma" : "end";
    if (n.kind === "object") {
      stack.push({ node: n });
      want = "firstKey";
    } else if (n.kind === "array") {
      stack.push({ node: n });
      want = "first";
    }
    return true;
  };
  for (;;) {
    const at = token.lastIndex;
    const m = token.exec(text);
    if (!m) return is() === "end" && text.slice(at).trim() === "" ? root : undefined;
    const [, mark, quoted, other] = m;
    if (quoted !== undefined) {
      let s: string;
      try {
        s = JSON.parse(quoted) as string;
      } catch {
        return undefined;
      }
      if (is() === "key" || is() === "firstKey") {
        stack.at(-1)!.key = s;
        want = "colon";
      } else if (is() === "value" || is() === "first") put({ kind: "string", value: s });
      else return undefined;
    } else if (other !== undefined) {
      if (is() !== "value" && is() !== "first") return undefined;
      put({ kind: "other", raw: other });
    } else if (mark === "{" || mark === "[") {
      if (is() !== "value" && is() !== "first") return undefined;
      put(mark === "{" ? { kind: "object", entries: [] } : { kind: "array", items: [] });
    } else if (mark === "}") {
      if (stack.at(-1)?.node.kind !== "object" || (is() !== "comma" && is() !== "firstKey")) return undefined;
      close();
    } else if (mark === "]") {
      if (stack.at(-1)?.node.kind !== "array" || (is() !== "comma" && is() !== "first")) return undefined;
      close();
    } else if (mark === ":") {
      if (is() !== "colon") return undefined;
      want = "value";
    } else {
      if (is() !== "comma") return undefined;
      want = stack.at(-1)!.node.kind === "object" ? "key" : "value";
    }
  }
}

export interface Row {
  node: Node;
  depth: number;
  path: string;
  key: string | undefined; // as shown
  size: number; // of an object or array, else -1
  end?: boolean; // only the closing bracket
}

const plain = /^[A-Za-z_$][\w$-]*$/;

/** A step of a path as the filter's json: takes it. */
export function step(key: string): string {
  return plain.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

/** Open unless it was closed, and the other way round behind many or deep ones. */
export function isOpen(row: Row, toggled: ReadonlySet<string>): boolean {
  const open = row.depth < 4 && row.size <= 200;
  return toggled.has(row.path) ? !open : open;
}

/** The rows of a tree, as far as its nodes are open; at most 200 000. */
export function rows(root: Node, toggled: ReadonlySet<string>): Row[] {
  const out: Row[] = [];
  const make = (node: Node, depth: number, path: string, key: string | undefined): Row => ({
    node,
    depth,
    path,
    key,
    size: node.kind === "object" ? node.entries.length : node.kind === "array" ? node.items.length : -1,
  });
  const stack: Row[] = [make(root, 0, "", undefined)];
  while (stack.length > 0 && out.length < 200_000) {
    const row = stack.pop()!;
    out.push(row);
    if (row.end || row.size <= 0 || !isOpen(row, toggled)) continue;
    stack.push({ ...row, end: true });
    if (row.node.kind === "object") {
      const e = row.node.entries;
      for (let i = e.length - 1; i >= 0; i--) stack.push(make(e[i]![1], row.depth + 1, row.path + step(e[i]![0]), JSON.stringify(e[i]![0])));
    } else if (row.node.kind === "array") {
      const a = row.node.items;
      for (let i = a.length - 1; i >= 0; i--) stack.push(make(a[i]!, row.depth + 1, `${row.path}[${i}]`, undefined));
    }
  }
  return out;
}
