// Which route a request means: a table of path templates, matched without the query. Pure.
import { MeshnodeError } from '../util/errors.ts';
import { apiLimits } from '../util/limits/api.ts';

/** One line of the table. `{name}` in a template stands for one or more characters, slashes included. */
export interface Route<Target> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** E.g. `/v1/models/{id}`. A line above another wins. */
  readonly template: string;
  readonly target: Target;
}

export interface RouteMatch<Target> {
  readonly route: Route<Target>;
  /** URL-decoded values of the template's names. */
  readonly params: Readonly<Record<string, string>>;
}

export class Router<Target> {
  readonly #lines: ReadonlyArray<{ route: Route<Target>; pattern: RegExp }>;

  constructor(routes: ReadonlyArray<Route<Target>>) {
    this.#lines = routes.map((route) => ({ route, pattern: patternOf(route.template) }));
  }

  /**
   * The route of a request line. HEAD is answered as GET, a trailing slash does not matter.
   * Throws `unknown_url`, or `method_not_allowed` with `data.allow` as the `Allow` header wants it.
   */
  match(method: string, requestTarget: string): RouteMatch<Target> {
    const path = pathOf(requestTarget);
    const candidates = this.#lines.filter(({ pattern }) => pattern.test(path));
    const wanted = method === 'HEAD' ? 'GET' : method;
    const found = candidates.find(({ route }) => route.method === wanted);
    if (found !== undefined) {
      return { route: found.route, params: paramsOf(found.pattern, path) };
    }
    if (candidates.length === 0) {
      throw new MeshnodeError('unknown_url', `There is no route ${method} ${path.slice(0, 200)}.`);
    }
    const allow = allowedMethods(candidates.map(({ route }) => route.method));
    throw new MeshnodeError('method_not_allowed', `${path.slice(0, 200)} takes ${allow}, not ${method}.`, {
      data: { allow },
    });
  }

  /** What the `Allow` header says of a path; throws `unknown_url` if nothing is there. */
  allow(requestTarget: string): string {
    const path = pathOf(requestTarget);
    const methods = this.#lines.filter(({ pattern }) => pattern.test(path)).map(({ route }) => route.method);
    if (methods.length === 0) {
      throw new MeshnodeError('unknown_url', `There is no route ${path.slice(0, 200)}.`);
    }
    return allowedMethods(methods);
  }
}

/** The path of a request line's target, which may be a whole URL, without query and trailing slash. */
export function pathOf(requestTarget: string): string {
  const path = requestTarget.startsWith('/')
    ? requestTarget.replace(/[?#].*$/s, '')
    : (URL.parse(requestTarget)?.pathname ?? requestTarget);
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

function patternOf(template: string): RegExp {
  const source = template
    .split(/(\{\w+\})/)
    .map((piece) =>
      piece.startsWith('{') ? `(?<${piece.slice(1, -1)}>.+)` : piece.replace(/[.*+?^$()|[\]\\]/g, '\\$&'),
    )
    .join('');
  return new RegExp(`^${source}$`, 's');
}

function paramsOf(pattern: RegExp, path: string): Record<string, string> {
  const groups = pattern.exec(path)?.groups ?? {};
  return Object.fromEntries(Object.entries(groups).map(([name, raw]) => [name, decoded(raw)]));
}

function decoded(raw: string): string {
  if (raw.length > apiLimits.pathParamLength) {
    throw new MeshnodeError('unknown_url', `The path holds a name of ${raw.length} characters.`);
  }
  try {
    return decodeURIComponent(raw);
  } catch (cause) {
    throw new MeshnodeError('unknown_url', 'The path is not valid percent-encoding.', { cause });
  }
}

function allowedMethods(methods: readonly string[]): string {
  const all = methods.includes('GET') ? ['GET', 'HEAD', ...methods] : methods;
  return [...new Set([...all, 'OPTIONS'])].join(', ');
}
