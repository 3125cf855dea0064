import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Message } from './mailer.ts'

/**
 * Writes the mail to `<folder>/<id>.eml`, readable by nobody else, and returns the path. There is never half a file
 * under that name, and writing it again replaces it.
 */
export const writeMail = async (folder: string, id: string, message: Message): Promise<string> => {
  const { createTransport } = await import('nodemailer')
  const composer = createTransport({ streamTransport: true, buffer: true, newline: 'windows' })
  const { message: bytes } = await composer.sendMail(message)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const file = join(folder, `${id}.eml`)
  const unfinished = `${file}.${process.pid}.tmp`
  await writeFile(unfinished, bytes as Buffer, { mode: 0o600 })
  await rename(unfinished, file)
  return file
}
