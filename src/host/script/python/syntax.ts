// The part of Python that %{ … }% blocks are written in, as a tree.

export type Expression =
  | { readonly kind: 'value'; readonly value: number | string | boolean | null }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'list'; readonly items: readonly Expression[] }
  | { readonly kind: 'unary'; readonly op: string; readonly of: Expression }
  | { readonly kind: 'binary' | 'logic'; readonly op: string; readonly left: Expression; readonly right: Expression }
  /** `a <= b < c` compares each pair. */
  | { readonly kind: 'compare'; readonly first: Expression; readonly rest: readonly [op: string, Expression][] }
  | {
      readonly kind: 'choice';
      readonly condition: Expression;
      readonly then: Expression;
      readonly otherwise: Expression;
    }
  | { readonly kind: 'call'; readonly callee: Expression; readonly args: readonly Expression[] }
  | { readonly kind: 'member'; readonly of: Expression; readonly name: string }
  | { readonly kind: 'index'; readonly of: Expression; readonly at: Expression }
  | { readonly kind: 'format'; readonly parts: readonly (string | Expression)[] };

export type Statement = { readonly line: number; readonly text: string } & (
  | { readonly kind: 'assert'; readonly condition: Expression; readonly message: Expression | null }
  | { readonly kind: 'print'; readonly values: readonly Expression[] }
  | { readonly kind: 'assign'; readonly targets: readonly Expression[]; readonly value: Expression }
  | { readonly kind: 'evaluate'; readonly value: Expression }
  | { readonly kind: 'pass' }
  | {
      readonly kind: 'if';
      readonly branches: readonly { readonly condition: Expression | null; readonly body: readonly Statement[] }[];
    }
  | {
      readonly kind: 'for';
      readonly target: Expression;
      readonly over: Expression;
      readonly body: readonly Statement[];
    }
  | { readonly kind: 'while'; readonly condition: Expression; readonly body: readonly Statement[] }
);

/** What this part of Python does not have. `line` counts from the block's own first line, which is 0. */
export class PythonUnsupported extends Error {
  constructor(
    readonly line: number,
    message: string,
  ) {
    super(message);
  }
}
