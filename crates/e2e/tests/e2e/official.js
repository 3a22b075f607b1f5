// The official TypeScript client drives a portal: what its repositories offer, and the rest by its raw requests.
"use strict";
const assert = require("node:assert");
const octopus = require("@octopusdeploy/api-client");

const { PORTAL, KEY, SHORT, LONG, TARGET } = process.env;
const SPACE = "Default";
// Milliseconds between two looks at a task, and until it must be over.
const LOOK = 200;
const LIMIT = 240000;

const quiet = { debug() {}, info() {}, warn() {}, error: console.error };

async function main() {
  const client = await octopus.Client.create({ userAgentApp: "tests", apiKey: KEY, instanceURL: PORTAL, logging: quiet });
  const server = await client.getServerInformation();
  assert.match(server.version, /^\d+\.\d+\.\d+/);
  assert.strictEqual((await octopus.userGetCurrent(client)).Username, "admin");

  const spaces = await new octopus.SpaceRepository(client).list({ partialName: SPACE });
  assert.deepStrictEqual(spaces.Items.map((space) => space.Id), ["Spaces-1"]);

  const environments = new octopus.EnvironmentRepository(client, SPACE);
  const [first] = (await environments.list()).Items;
  const second = await environments.create({ Name: "By the client" });
  assert.strictEqual((await environments.get(second.Id)).Name, "By the client");
  assert.strictEqual((await environments.getEnvironmentByName("By the client")).Id, second.Id);
  const renamed = await environments.modify({ ...second, Name: "Renamed" });
  assert.strictEqual(renamed.Name, "Renamed");
  await environments.sort([second.Id, first.Id]);
  assert.deepStrictEqual((await environments.list()).Items.map((one) => one.Id), [second.Id, first.Id]);
  const summary = await environments.summary();
  assert.strictEqual(summary.TentacleUpgradesRequired, true);
  const [machine] = (await environments.machines(first)).Items;
  await environments.del(second);
  await assert.rejects(environments.get(second.Id), (error) => error.StatusCode === 404 && /not found/.test(error.ErrorMessage));

  // The client has no repository of machines.
  const listed = await client.request("~/api/{spaceId}/machines{?partialName}", { spaceName: SPACE, partialName: machine.Name });
  assert.deepStrictEqual(listed.Items.map((one) => one.Id), [machine.Id]);
  const wish = {
    spaceName: SPACE,
    Name: "elsewhere",
    EnvironmentIds: [first.Id],
    Roles: ["none"],
    IsDisabled: true,
    Endpoint: { CommunicationStyle: "TentaclePassive", Uri: "https://127.0.0.1:9/", Thumbprint: "ab".repeat(32) },
  };
  const added = await client.doCreate("~/api/{spaceId}/machines", wish);
  const changed = await client.doUpdate("~/api/{spaceId}/machines/{id}", { ...wish, Roles: ["some"] }, { id: added.Id });
  assert.deepStrictEqual(changed.Roles, ["some"]);
  await client.del("~/api/Spaces-1/machines/{id}", { id: added.Id });

  const packages = new octopus.PackageRepository(client, SPACE);
  await packages.push([SHORT, LONG]);
  await assert.rejects(packages.push([SHORT]), /already exists/);
  await packages.push([SHORT], octopus.OverwriteMode.IgnoreIfExists);
  assert.strictEqual((await packages.list({ filter: "Acme" })).TotalResults, 2);
  assert.strictEqual((await packages.get("packages-Acme.Short.1.0.0")).Version, "1.0.0");

  const tasks = new octopus.SpaceServerTaskRepository(client, SPACE);
  const waiter = new octopus.ServerTaskWaiter(client, SPACE);
  const create = (Name, Arguments) =>
    client.doCreate("~/api/{spaceId}/tasks", { spaceName: SPACE, Name, Description: `${Name} by the client`, Arguments });
  const over = (task) => waiter.waitForServerTaskToComplete(task.Id, LOOK, LIMIT);

  const health = await over(await create("Health", { EnvironmentId: first.Id }));
  assert.strictEqual(health.State, "Success");
  const deployed = await over(await create("Deploy", { PackageId: "Acme.Short", EnvironmentId: first.Id }));
  assert.strictEqual(deployed.FinishedSuccessfully, true);
  assert.match(await tasks.getRaw(deployed.Id), /hello from the package/);
  const details = await tasks.getDetails(deployed.Id);
  assert.strictEqual(details.ActivityLogs[0].Status, "Success");
  assert.strictEqual(details.ActivityLogs[0].Children.length, 1);

  const long = await create("Deploy", { PackageId: "Acme.Long", EnvironmentId: first.Id });
  while (!/the long one begins/.test(await tasks.getRaw(long.Id))) await new Promise((done) => setTimeout(done, LOOK));
  await new octopus.ServerTaskRepository(client).cancel(long.Id);
  assert.strictEqual((await over(long)).State, "Canceled");

  const upgraded = await over(await create("Upgrade", { MachineIds: [machine.Id], SpaceId: "Spaces-1" }));
  assert.strictEqual(upgraded.State, "Success");
  const now = await client.request("~/api/{spaceId}/machines/{id}", { spaceName: SPACE, id: machine.Id });
  assert.strictEqual(now.Endpoint.TentacleVersionDetails.Version, TARGET);
  const known = await tasks.getByIds([health.Id, deployed.Id, long.Id, upgraded.Id]);
  assert.deepStrictEqual(known.map((task) => task.IsCompleted), [true, true, true, true]);
  console.log("all of it");
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
