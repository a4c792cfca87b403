// Sends visits with org.piwik.java.tracking:matomo-java-tracker: java JavaClient URL SITE TOKEN.

import java.net.URI;
import java.util.List;
import java.util.Map;
import org.matomo.java.tracking.ActionType;
import org.matomo.java.tracking.MatomoRequest;
import org.matomo.java.tracking.MatomoRequest.MatomoRequestBuilder;
import org.matomo.java.tracking.MatomoRequests;
import org.matomo.java.tracking.MatomoTracker;
import org.matomo.java.tracking.TrackerConfiguration;
import org.matomo.java.tracking.parameters.DeviceResolution;
import org.matomo.java.tracking.parameters.EcommerceItem;
import org.matomo.java.tracking.parameters.EcommerceItems;
import org.matomo.java.tracking.parameters.VisitorId;

public class JavaClient {
  static final String AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0";
  static MatomoTracker tracker;
  static String token;

  static void send(MatomoRequestBuilder builder, String url) {
    tracker.sendRequest(builder
        .actionUrl(url)
        .visitorId(VisitorId.fromHex("aaaabbbbcccc0003"))
        .headerUserAgent(AGENT)
        .deviceResolution(DeviceResolution.builder().width(1920).height(1080).build())
        .visitorIp("198.51.100.9")
        .authToken(token)
        .build());
  }

  static EcommerceItems items() {
    return EcommerceItems.builder()
        .item(EcommerceItem.builder().sku("SKU1").name("Lamp").category("Light").price(9.5).quantity(2).build())
        .item(EcommerceItem.builder().sku("SKU2").name("Bulb").category("Light").price(1.25).quantity(4).build())
        .build();
  }

  public static void main(String[] arguments) throws Exception {
    token = arguments[2];
    tracker = new MatomoTracker(TrackerConfiguration.builder()
        .apiEndpoint(URI.create(arguments[0]))
        .defaultSiteId(Integer.parseInt(arguments[1]))
        .build());
    String list = "http://shop.example/list";
    String lamp = "http://shop.example/lamp";
    send(MatomoRequests.pageView("Home ünïcode & more").referrerUrl("https://news.example.org/story")
        .networkTime(10L).serverTime(20L), "http://shop.example/home");
    send(MatomoRequests.pageView("List").dimensions(Map.of(1L, "gold", 2L, "blue")), list);
    send(MatomoRequests.event("Video", "play", "intro", 3.0), list);
    send(MatomoRequests.contentImpression("Ad", "ad.png", "http://shop.example/ad"), list);
    send(MatomoRequests.contentInteraction("click", "Ad", "ad.png", "http://shop.example/ad"), list);
    send(MatomoRequests.siteSearch("lamp", "Light", 7L), list);
    send(MatomoRequests.action("http://shop.example/a.pdf", ActionType.DOWNLOAD), "http://shop.example/a.pdf");
    send(MatomoRequests.action("http://other.example/x", ActionType.LINK), "http://other.example/x");
    send(MatomoRequests.goal(1, 5.0), list);
    send(MatomoRequests.pageView("Lamp").additionalParameters(
        Map.of("_pks", "SKU1", "_pkn", "Lamp", "_pkc", "Light", "_pkp", "9.5")), lamp);
    send(MatomoRequests.ecommerceCartUpdate(20.0).ecommerceItems(items()), lamp);
    send(MatomoRequests.ecommerceOrder("o-java", 42.5, 30.0, 5.0, 7.5, 1.0).ecommerceItems(items())
        .userId("alice@example.org"), lamp);
    send(MatomoRequests.ping().userId("alice@example.org"), lamp);
    send(MatomoRequests.crash("It broke", "TypeError", "front", "at x", "app.js", 3, 7).customAction(true)
        .userId("alice@example.org"), lamp);
    List<MatomoRequest> bulk = List.of(1, 2, 3).stream().map(n -> MatomoRequests.pageView("Bulk " + n)
        .actionUrl("http://shop.example/bulk/" + n)
        .visitorId(VisitorId.fromHex("aaaabbbbcccc0013"))
        .headerUserAgent("Mozilla/5.0 (Windows NT 10.0; rv:120.0) Gecko/20100101 Firefox/120.0")
        .build()).toList();
    tracker.sendBulkRequest(bulk, token);
    tracker.close();
  }
}
