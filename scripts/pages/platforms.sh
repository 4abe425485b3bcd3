page deploy/platforms/README.md

step "secrets"
run 'umask 077' <<<'rediss://:PASSWORD@HOST:6379'
expect "Redis's URL" "$(cat redis-url)" 'rediss://:PASSWORD@HOST:6379'
expect "newlines at the ends" "$(cat key redis-url | wc -l)" 0

step "tokens"
cp "$bin/farscrape-relay" .
run 'FARSCRAPE_KEY_FILE=key ./farscrape-relay token'
[ -s edge-1.token ] && [ -s scraper.token ]

page deploy/platforms/cloud-run/README.md
step "the commands' files are there; nothing is deployed"
cp key redis-url deploy/platforms/cloud-run
cd deploy/platforms/cloud-run
cp /etc/ssl/certs/ca-certificates.crt redis-ca.pem # gcloud redis instances describe
stand_in gcloud az aws
run 'gcloud secrets create'

page deploy/platforms/azure-container-apps/README.md
step "the commands' files are there; nothing is deployed"
cp key redis-url ../azure-container-apps
cd ../azure-container-apps
run 'az keyvault secret set'

page deploy/platforms/ecs/README.md
step "the commands' files are there; nothing is deployed"
cp key redis-url ../ecs
cd ../ecs
run 'aws ssm put-parameter'

page deploy/platforms/fly/README.md
step "what is imported; nothing is deployed"
cp key redis-url ../fly
cd ../fly
fly() { [ "$1" != secrets ] || cat >imported; }
run 'fly apps create'
expect "the secrets" "$(cat imported)" "FARSCRAPE_KEY=$(cat key)
FARSCRAPE_REDIS_URL=$(cat redis-url)"
