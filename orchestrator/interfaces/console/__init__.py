"""The web console: pages for people, made on the server, served by `baton api` beside its routes.

    mount      puts it into the application       access   who looks: a cookie with a token, CSRF
    pages      routes that answer with pages      shown    values as people read them; templates/ and static/ beside
    charts, graph   drawings as SVG               story    a session's journal as people read it
    overview, sessions, inbox, dead, operate, apps   the pages themselves

It speaks to the client and to Operations alone. A page works without JavaScript; with it, it follows what happens.
"""
