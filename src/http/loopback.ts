// Which names mean this machine, and how an address is written in a URL. Pure.

/** Whether a host name or address can only be reached from this machine. Brackets of IPv6 are allowed. */
export function isLoopbackHost(host: string): boolean {
  const name = host.toLowerCase();
  return (
    name === 'localhost' ||
    name === '::1' ||
    name === '[::1]' ||
    /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name)
  );
}

/** The name in a `Host` header, lower case and without its port; undefined if it is no host. */
export function hostNameOf(header: string): string | undefined {
  return /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?$/.exec(header.trim().toLowerCase())?.[1];
}

/** A URL at which a server bound to `host` can be called from this machine. */
export function urlOf(host: string, port: number): string {
  if (host === '0.0.0.0') {
    return `http://127.0.0.1:${port}`;
  }
  if (host === '::') {
    return `http://[::1]:${port}`;
  }
  return host.includes(':') ? `http://[${host}]:${port}` : `http://${host}:${port}`;
}
