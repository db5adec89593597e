{{/* The beginning of the names of all objects. A Service's name has 63 characters at most, `-gateway-peers` included. */}}
{{- define "windlass.fullname" -}}
{{- $name := .Values.fullnameOverride | default .Release.Name }}
{{- if gt (len $name) 49 }}{{ $name | trunc 40 | trimSuffix "-" }}-{{ $name | sha256sum | trunc 8 }}{{ else }}{{ $name }}{{ end }}
{{- end }}

{{- define "windlass.name" -}}
{{ .Values.nameOverride | default .Chart.Name }}
{{- end }}

{{/* The namespaces that are served, separated by commas. Nothing: all. */}}
{{- define "windlass.watched" -}}
{{ concat (list .Values.watchNamespace) (.Values.watchNamespaces | default list) | compact | uniq | join "," }}
{{- end }}

{{/* Where the built-in functions are, separated by commas: where jobs are served. */}}
{{- define "windlass.functionNamespaces" -}}
{{ include "windlass.watched" . | default .Release.Namespace }}
{{- end }}

{{/* One of them, for a first job: that of the release, if it is served. */}}
{{- define "windlass.jobsNamespace" -}}
{{- $all := splitList "," (include "windlass.functionNamespaces" .) }}
{{- if has .Release.Namespace $all }}{{ .Release.Namespace }}{{ else }}{{ first $all }}{{ end }}
{{- end }}

{{/* A digest says more than a tag. */}}
{{- define "windlass.image" -}}
{{- with .Values.image.digest }}{{ $.Values.image.repository }}@{{ . }}
{{- else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "windlass.labels" -}}
app.kubernetes.io/name: {{ include "windlass.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "windlass.selector" -}}
app.kubernetes.io/name: {{ include "windlass.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What workers and other gateways call the gateway, and what its certificate is for. */}}
{{- define "windlass.gatewayName" -}}
{{ include "windlass.fullname" . }}-gateway.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end }}

{{/* Of a Service: which of IPv4 and IPv6 it has. */}}
{{- define "windlass.ipFamilies" -}}
{{- with .Values.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.ipFamilies }}
ipFamilies: {{ toJson . }}
{{- end }}
{{- end }}

{{/* The Secret with the gateway's certificate: one that is named, or that of templates/certificate.yaml. Empty without TLS. */}}
{{- define "windlass.tlsSecret" -}}
{{- $tls := .Values.gateway.tls }}
{{- $ways := 0 }}
{{- range list $tls.secretName $tls.selfSigned $tls.certManager.enabled }}{{ if . }}{{ $ways = add1 $ways }}{{ end }}{{ end }}
{{- if gt $ways 1 }}
{{- fail "gateway.tls: only one of secretName, selfSigned and certManager.enabled can be set" }}
{{- end }}
{{- if or $tls.selfSigned $tls.certManager.enabled }}{{ include "windlass.fullname" . }}-gateway-tls{{ else }}{{ $tls.secretName }}{{ end }}
{{- end }}

{{/* Who has signed the gateway's certificate: the first of these that the Secret has. */}}
{{- define "windlass.authorities" -}}
/run/windlass/tls/ca.crt,/run/windlass/tls/tls.crt
{{- end }}

{{/* The account of a component, `dict "root" . "component" NAME`. */}}
{{- define "windlass.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "windlass.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "windlass.labels" .root | nindent 4 }}
  {{- with (index .root.Values .component).serviceAccount.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* What the pods of a component are called. */}}
{{- define "windlass.podMetadata" -}}
{{- $values := index .root.Values .component -}}
labels:
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- include "windlass.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
{{- with $values.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Who runs the pods of a component, from where their image comes, and on which nodes they may be. */}}
{{- define "windlass.podPlacement" -}}
{{- $values := index .root.Values .component -}}
serviceAccountName: {{ include "windlass.fullname" .root }}-{{ .component }}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with index $values $field }}
{{ $field }}:{{ if kindIs "string" . }} {{ . }}{{ else }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}
{{- end }}
{{- if $values.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml $values.topologySpreadConstraints | nindent 2 }}
{{- else if gt (int $values.replicas) 1 }}
{{ include "windlass.spread" . }}
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Of several replicas no two on one node, where there are enough. */}}
{{- define "windlass.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "windlass.selector" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
    # Those of the version before do not count.
    matchLabelKeys: [pod-template-hash]
{{- end }}

{{- define "windlass.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "windlass.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* In which namespaces the pods of jobs are. Nothing would mean the policy's own. */}}
{{- define "windlass.jobsNamespaces" -}}
{{- with include "windlass.watched" . -}}
{ matchExpressions: [{ key: kubernetes.io/metadata.name, operator: In, values: {{ splitList "," . | toJson }} }] }
{{- else }}{}{{ end }}
{{- end }}

{{/* What the pod of `helm test` may do. It is gone once the test has passed. */}}
{{- define "windlass.testRights" -}}
helm.sh/hook: test
helm.sh/hook-weight: "0"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* The pod of `helm test`. It stays until the next one: its log says what went wrong. */}}
{{- define "windlass.testPod" -}}
helm.sh/hook: test
helm.sh/hook-weight: "1"
helm.sh/hook-delete-policy: before-hook-creation
{{- end }}

{{/* The objects of the Prometheus operator have the labels by which an admin's Prometheus finds them. */}}
{{- define "windlass.monitorLabels" -}}
{{- include "windlass.labels" .root }}
{{- with .labels }}
{{ toYaml . }}
{{- end }}
{{- end }}
