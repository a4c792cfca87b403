"""German titles of reports, dimensions, categories and metrics, in our own words, by the English title."""

from collections.abc import Mapping

_TITLES: Mapping[str, str] = {
    # Categories and pages
    "Visitors": "Besucher", "Actions": "Aktionen", "Referrers": "Verweise", "Ecommerce": "E-Commerce",
    "Goals": "Ziele", "All Websites": "Alle Websites", "API": "API", "Overview": "Übersicht",
    "Locations": "Orte", "Devices": "Geräte", "Software": "Software", "Times": "Zeiten",
    "User IDs": "Benutzerkennungen", "Custom Variables": "Benutzerdefinierte Variablen",
    "Engagement": "Engagement", "Performance": "Ladezeiten", "Site Search": "Interne Suche",
    "Events": "Ereignisse", "Contents": "Inhalte", "Products": "Produkte", "Behaviour": "Verhalten",
    "Acquisition": "Akquisition",
    # Visitors
    "Visits Summary": "Besucherüberblick", "Returning Visits": "Wiederkehrende Besuche",
    "Country": "Land", "Continent": "Kontinent", "Region": "Region", "City": "Stadt",
    "Language": "Sprache", "Web-browser language": "Sprache des Browsers", "Language code": "Sprachkürzel",
    "Device type": "Gerätetyp", "Device brand": "Gerätemarke", "Device model": "Gerätemodell",
    "Operating System families": "Betriebssystemfamilien",
    "Operating system family": "Betriebssystemfamilie",
    "Operating System versions": "Betriebssystemversionen",
    "Operating system version": "Betriebssystemversion", "Browsers": "Browser", "Browser": "Browser",
    "Browser version": "Browserversion", "Browser engines": "Browser-Engines",
    "Browser engine": "Browser-Engine", "Browser Plugins": "Browser-Plugins", "Plugin": "Plugin",
    "Screen Resolution": "Bildschirmauflösung", "Resolution": "Auflösung",
    "Configurations": "Konfigurationen", "Configuration": "Konfiguration", "UserId": "Benutzerkennung",
    "Visits per local time": "Besuche nach Ortszeit",
    "Local time — hour (start of visit)": "Ortszeit: Stunde (Beginn des Besuchs)",
    "Visits per hour in the site's timezone": "Besuche nach Stunde in der Zeitzone der Website",
    "Site time — hour (start of visit)": "Zeit der Website: Stunde (Beginn des Besuchs)",
    "Visits by day of the week": "Besuche nach Wochentag", "Day of the week": "Wochentag",
    "Custom Variable name": "Name der Variablen", "Custom Variable value": "Wert der Variablen",
    "Length of visits": "Dauer der Besuche", "Visit duration": "Besuchsdauer",
    "Pages per visit": "Seiten pro Besuch", "Visits by visit number": "Besuche nach Besuchsnummer",
    "Visits by days since last visit": "Besuche nach Tagen seit dem letzten Besuch",
    "Days since last visit": "Tage seit dem letzten Besuch",
    # Actions
    "Main metrics": "Hauptkennzahlen", "Actions - Main metrics": "Aktionen - Hauptkennzahlen",
    "Pages": "Seiten", "Page URLs": "Seiten-URLs", "Page URL": "Seiten-URL", "Page titles": "Seitentitel",
    "Page Title": "Seitentitel", "Entry pages": "Einstiegsseiten", "Entry Page URL": "URL der Einstiegsseite",
    "Entry page titles": "Titel der Einstiegsseiten", "Entry Page title": "Titel der Einstiegsseite",
    "Exit pages": "Ausstiegsseiten", "Exit Page URL": "URL der Ausstiegsseite",
    "Exit page titles": "Titel der Ausstiegsseiten", "Exit Page Title": "Titel der Ausstiegsseite",
    "Outlinks": "Ausgehende Verweise", "Clicked Outlink": "Ausgehender Verweis", "Downloads": "Downloads",
    "Download URL": "Download-URL", "Site Search Keywords": "Suchbegriffe der internen Suche",
    "Search Keywords with No Results": "Suchbegriffe ohne Ergebnis",
    "Keyword with No Search Result": "Suchbegriff ohne Ergebnis", "Search Categories": "Suchkategorien",
    "Search Category": "Suchkategorie", "Pages Following a Site Search": "Seiten nach einer internen Suche",
    "Page Titles Following a Site Search": "Seitentitel nach einer internen Suche",
    "Destination Page": "Zielseite", "Event Categories": "Ereigniskategorien",
    "Event Category": "Ereigniskategorie", "Event Actions": "Ereignisaktionen",
    "Event Action": "Ereignisaktion", "Event Names": "Ereignisnamen", "Event Name": "Ereignisname",
    "Content Name": "Inhaltsname", "Content Piece": "Inhaltsteil",
    "Performance overview": "Ladezeiten im Überblick",
    # Referrers
    "Referrers Overview": "Verweise im Überblick", "All Channels": "Alle Kanäle",
    "Channel Type": "Kanaltyp", "Referrer": "Verweis",
    "Search Engines & Keywords": "Suchmaschinen & Suchbegriffe",
    "Search Engines": "Suchmaschinen", "Search Engine": "Suchmaschine", "Keywords": "Suchbegriffe",
    "Keyword": "Suchbegriff", "Websites": "Webseiten", "Website": "Website",
    "Website Page": "Seite der Website", "Direct Entry": "Direkte Zugriffe",
    "AI Assistants": "KI-Assistenten",
    "Social Networks": "Soziale Netzwerke", "Social network": "Soziales Netzwerk",
    "Campaigns": "Kampagnen", "Campaign": "Kampagne",
    # Goals and the shop
    "Goals Overview": "Ziele im Überblick", "Visits to Conversion": "Besuche bis zur Konversion",
    "Days to Conversion": "Tage bis zur Konversion", "Ecommerce Orders": "Bestellungen",
    "Abandoned Carts": "Verlassene Warenkörbe", "Product Name": "Produktname",
    "Product SKU": "Artikelnummer", "Product Category": "Produktkategorie",
    "All Websites dashboard": "Alle Websites im Überblick",
    "Single Website dashboard": "Eine Website im Überblick",
    # Metrics
    "Avg. generation time": "Durchschn. Generierungszeit", "Entrances": "Einstiege", "Bounces": "Absprünge",
    "Exits": "Ausstiege", "Unique Pageviews": "Einmalige Seitenansichten",
    "Unique Downloads": "Einmalige Downloads", "Unique Outlinks": "Einmalige ausgehende Verweise",
    "Unique Keywords": "Verschiedene Suchbegriffe", "Search Results pages": "Seiten mit Suchergebnissen",
    "Clicked in search results": "In Suchergebnissen angeklickt", "% Visits": "% Besuche",
    "Average Order Value": "Durchschnittlicher Bestellwert", "Purchased Products": "Gekaufte Produkte",
    "Revenue per Visit": "Umsatz pro Besuch", "Revenue per Entry": "Umsatz pro Einstieg",
    "Conversions": "Konversionen", "Revenue": "Umsatz", "Conversion Rate": "Konversionsrate",
    "Viewed before conversion rate": "Anteil der Konversionen, vor denen sie angesehen wurde",
    "Product Revenue": "Produktumsatz", "Conversions Evolution": "Entwicklung der Konversionen",
    "Ecommerce Orders Evolution": "Entwicklung der Bestellungen",
    "Product Revenue Evolution": "Entwicklung des Produktumsatzes",
    "Avg. page load time": "Durchschn. Ladezeit", "Avg. network time": "Durchschn. Netzwerkzeit",
    "Avg. server time": "Durchschn. Serverzeit", "Avg. transfer time": "Durchschn. Übertragungszeit",
    "Avg. DOM processing time": "Durchschn. DOM-Verarbeitungszeit",
    "Avg. DOM completion time": "Durchschn. DOM-Fertigstellungszeit",
    "Avg. on load time": "Durchschn. OnLoad-Zeit",
    "Avg. Time on Website": "Durchschnittszeit auf der Webseite",
    "Avg. Visit Duration (in seconds)": "Durchschn. Besuchszeit (in Sekunden)",
    "Avg. Time On Dimension": "Durchschn. Zeit auf der Dimension",
    "Actions by Returning Visits": "Aktionen wiederkehrender Besuche",
    "Unique returning visitors": "Eindeutige wiederkehrende Besucher",
    "Returning Users": "Wiederkehrende Benutzer",
    "Maximum actions in one returning visit": "Maximale Aktionen eines wiederkehrenden Besuchs",
    "Avg. Duration of a Returning Visit (in sec)": "Durchschn. Dauer wiederkehrender Besuche (in Sekunden)",
    "Avg. Actions per Returning Visit": "Durchschn. Aktionen wiederkehrender Besuche",
    "Bounce Rate for Returning Visits": "Absprungsrate wiederkehrender Besuche",
    "New Visits": "Neue Besuche", "Actions by New Visits": "Aktionen neuer Besuche",
    "Unique new visitors": "Eindeutige neue Besucher", "New Users": "Neue Benutzer",
    "Avg. Duration of a New Visit (in sec)": "Durchschn. Dauer neuer Besuche (in Sekunden)",
    "Avg. Actions per New Visit": "Durchschn. Aktionen neuer Besuche",
    "Bounce Rate for New Visits": "Absprungsrate neuer Besuche",
    "Distinct search engines": "Verschiedene Suchmaschinen",
    "Distinct social networks": "Verschiedene soziale Netzwerke",
    "Distinct websites": "Verschiedene Websites", "Distinct keywords": "Verschiedene Suchbegriffe",
    "Distinct campaigns": "Verschiedene Kampagnen",
    **{
        f"{english} from {source}": f"{german} {words}"
        for english, german in (("Visitors", "Besucher"), ("Percent of Visitors", "Anteil der Besucher"))
        for source, words in (
            ("Search Engines", "von Suchmaschinen"), ("Social Networks", "von sozialen Netzwerken"),
            ("Direct Entry", "mit direktem Zugriff"), ("Websites", "von Websites"),
            ("Campaigns", "von Kampagnen"),
        )
    },
}  # fmt: skip


def translated(title: str, language: str) -> str:
    """In German where the language is; `Goal x` and `Goal x - Days to Conversion` part by part. What has no
    German title, such as names that people gave, stays as it is."""
    if language != "de":
        return title
    if title in _TITLES:
        return _TITLES[title]
    before, dash, after = title.rpartition(" - ")
    if dash:
        return f"{translated(before, language)} - {_TITLES.get(after, after)}"
    return f"Ziel {title.removeprefix('Goal ')}" if title.startswith("Goal ") else title
