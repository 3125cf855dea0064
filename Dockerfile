FROM node:24.21.0-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# No tools of development, and none of the optional packages: PostgreSQL is another container, Node is in the image.
RUN npm ci --omit=dev --omit=optional

FROM node:24.21.0-bookworm-slim
WORKDIR /app
ENV NODE_ENV=production
COPY --from=packages /app/node_modules node_modules
COPY package.json ./
COPY migrations-master migrations-master
COPY migrations-tenant migrations-tenant
COPY scripts scripts
COPY src src
USER node
EXPOSE 4000
STOPSIGNAL SIGTERM
# Alive, not ready: a node whose database is away must not be restarted for it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 4000}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "src/main.ts"]
