// The door of the page where a login is needed: the token is sent once, and a session comes back that no script reads.
import { logIn, session } from "./api.js";
import { drawTheme } from "./theme.js";

const $ = (id) => document.getElementById(id);
const field = $("login-token"), button = $("login").querySelector("button");

drawTheme($("theme"));

// The page that was asked for, under another address than this one: the same but for what stands behind the # would not be
// loaded again.
const enter = () => location.replace(`${location.pathname}${location.href.split("#")[0].endsWith("?") ? "" : "?"}${location.hash}`);

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  $("login-problem").textContent = "";
  try {
    await logIn(field.value.trim());
    if ((await session()).session) return enter();
    $("login-problem").textContent = "Your browser does not keep the login: it wants the page by https.";
  } catch (error) {
    $("login-problem").textContent = `${error.message[0].toUpperCase()}${error.message.slice(1)}.`;
  }
  button.disabled = false;
  field.select();
  field.focus();
});

// Who came by a link on another site's page is logged in already: the browser kept that back.
session().then((now) => now.user && enter(), () => {});
