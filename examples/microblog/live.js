// SPDX-License-Identifier: MIT
// Puts posts on the page as they are written. The page names the place in the feed at which it was made, so that none is
// missed.
'use strict';
const posts = document.querySelector('#posts[data-since]');

function show(post) {
  if (posts.querySelector(`[data-id="${CSS.escape(post.id)}"]`)) return;  // an event may come twice
  const article = document.createElement('article'), author = document.createElement('a');
  const time = document.createElement('time'), text = document.createElement('p');
  author.href = '/by/' + encodeURIComponent(post.name);
  author.textContent = post.name;
  time.textContent = new Date(post.ms).toLocaleString();
  text.textContent = post.text;  // text, never HTML
  article.dataset.id = post.id;
  article.append(author, ' ', time, text);
  const before = [...posts.children].find((other) => other.dataset.id > post.id);  // IDs sort the newest first
  posts.insertBefore(article, before ?? null);
}

if (posts) {
  const feed = new EventSource('/live?since=' + encodeURIComponent(posts.dataset.since));
  feed.addEventListener('post', (event) => show(JSON.parse(event.data)));
  feed.onerror = () => {
    // Connects again by itself unless it was refused: the place is too long ago, or no backend was there.
    if (feed.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
  };
}
