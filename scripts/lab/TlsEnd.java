// Java's TLS (JSSE) as client and as server, for the checks in checks/java.py. Started from this file: `java TlsEnd.java ...`.
//
//   get HOST PORT PATH [h2]      fetches a page; what it has seen in one line: status, protocol, bytes, issuer
//   serve ADDRESS STORE NEED     answers 200 to all; NEED: none, want or need a client certificate
//
// Trust and names are given by Java's own properties (javax.net.ssl.trustStore, jdk.net.hosts.file). Exit 3: TLS has failed.

import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsParameters;
import com.sun.net.httpserver.HttpsServer;
import java.io.FileInputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.KeyStore;
import java.security.cert.X509Certificate;
import java.util.concurrent.Executors;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;

public class TlsEnd {
    private static final char[] PASSWORD = "changeit".toCharArray();

    public static void main(String[] words) throws Exception {
        if (words[0].equals("serve")) {
            serve(words[1], words[2], words[3]);
            return;
        }
        String url = "https://" + words[1] + ":" + words[2] + words[3];
        try {
            System.out.println(words.length > 4 ? http2(url) : http1(url));
        } catch (SSLException error) {
            System.out.println(error);
            System.exit(3);
        } catch (IOException error) {
            System.out.println(error);
            System.exit(error.getCause() instanceof SSLException ? 3 : 4);
        }
    }

    private static String http1(String url) throws Exception {
        HttpsURLConnection connection = (HttpsURLConnection) new URL(url).openConnection();
        byte[] body = connection.getInputStream().readAllBytes();
        X509Certificate leaf = (X509Certificate) connection.getServerCertificates()[0];
        return said(connection.getResponseCode(), "HTTP_1_1", body, leaf);
    }

    private static String http2(String url) throws Exception {
        HttpResponse<byte[]> response = HttpClient.newHttpClient()
            .send(HttpRequest.newBuilder(URI.create(url)).build(), HttpResponse.BodyHandlers.ofByteArray());
        X509Certificate leaf = (X509Certificate) response.sslSession().get().getPeerCertificates()[0];
        return said(response.statusCode(), response.version().toString(), response.body(), leaf);
    }

    private static String said(int status, String protocol, byte[] body, X509Certificate leaf) {
        return status + " " + protocol + " " + body.length + " " + leaf.getIssuerX500Principal().getName();
    }

    private static void serve(String address, String store, String need) throws Exception {
        KeyStore keys = KeyStore.getInstance("PKCS12");
        try (FileInputStream in = new FileInputStream(store)) {
            keys.load(in, PASSWORD);
        }
        KeyManagerFactory managers = KeyManagerFactory.getInstance("PKIX");
        managers.init(keys, PASSWORD);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(managers.getKeyManagers(), null, null);
        HttpsServer server = HttpsServer.create(new InetSocketAddress(address, 443), 0);
        server.setHttpsConfigurator(new HttpsConfigurator(context) {
            @Override
            public void configure(HttpsParameters parameters) {
                SSLParameters wanted = context.getDefaultSSLParameters();
                wanted.setNeedClientAuth(need.equals("need"));
                if (need.equals("want")) {
                    wanted.setWantClientAuth(true);
                }
                parameters.setSSLParameters(wanted);
            }
        });
        server.createContext("/", exchange -> {
            byte[] body = "from Java".getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
        System.out.println("serving");
    }
}
