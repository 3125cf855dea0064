import type { Content } from './letters.ts'

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Text as it may stand anywhere in HTML, between tags and inside quoted attributes. */
export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (c) => entities[c] ?? c)

/** The letter as plain text, with lines as long as they come: mail programs wrap them. */
export const toText = ({ paragraphs, action, closing }: Content): string =>
  `${[...paragraphs, `${action.label}:\n${action.link}`, closing].join('\n\n')}\n`

const paragraph = (text: string): string =>
  `<p style="margin:0 0 16px">${escapeHtml(text).replaceAll('\n', '<br>')}</p>`

/** The same letter as HTML: no pictures, nothing that is fetched from anywhere, the link in full below its button. */
export const toHtml = ({ subject, paragraphs, action, closing }: Content): string => {
  const link = escapeHtml(action.link)
  return [
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(subject)}</title></head>`,
    '<body style="margin:0;padding:24px;font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff">',
    '<div style="max-width:560px;margin:0 auto">',
    ...paragraphs.map(paragraph),
    `<p style="margin:0 0 16px"><a href="${link}" style="display:inline-block;padding:10px 16px;border-radius:6px;`,
    `background:#1f4fd8;color:#fff;text-decoration:none">${escapeHtml(action.label)}</a></p>`,
    `<p style="margin:0 0 16px;font-size:13px;color:#666;word-break:break-all">${link}</p>`,
    `<p style="margin:0;font-size:13px;color:#666">${escapeHtml(closing)}</p>`,
    '</div></body></html>\n',
  ].join('\n')
}
